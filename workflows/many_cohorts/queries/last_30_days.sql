-- For the console: the last 30 days of each workflow. A day without an outcome had no session, or its attempt was killed.
SELECT
  "days"."day",
  "workflows"."workflow",
  "uploads"."outcome",
  "uploads"."session_time",
  "uploads"."attempt_id",
  "uploads"."identifiers",
  "uploads"."delivered",
  "uploads"."summary"
FROM
  UNNEST(SEQUENCE(CURRENT_DATE - INTERVAL '29' DAY, CURRENT_DATE)) AS "days" ("day")
  CROSS JOIN (SELECT DISTINCT "workflow" FROM "braze_uploads") AS "workflows"
  LEFT JOIN "braze_uploads" AS "uploads"
    ON "uploads"."workflow" = "workflows"."workflow"
    AND SUBSTR("uploads"."session_time", 1, 10) = CAST("days"."day" AS VARCHAR)
ORDER BY
  1 DESC, 2, 4, 5
