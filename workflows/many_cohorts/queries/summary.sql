-- A cohort has an account if its upload ended with exit code 0, in this attempt or in an earlier one of this session.
WITH uploaded AS (
  SELECT cohort, MAX(delivered) AS delivered
  FROM braze_accounts
  WHERE session_uuid = '${session_uuid}'
  GROUP BY cohort
)
SELECT
  COUNT(*) AS uploaded,
  COALESCE(SUM(delivered), 0) AS delivered,
  ''${cohorts.map(function (name) {
    return " || CASE WHEN '" + name + "' IN (SELECT cohort FROM uploaded) THEN '' ELSE ' " + name + "' END"
  }).join("")} AS failed
FROM uploaded
