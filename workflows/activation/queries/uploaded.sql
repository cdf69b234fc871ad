-- The row of a successful session. Keep its columns in the order of failed.sql.
SELECT
  CAST('${task_name.split(/[+^]/)[1]}' AS VARCHAR) AS "workflow",
  CAST('${session_time}' AS VARCHAR) AS "session_time",
  CAST('${attempt_id}' AS VARCHAR) AS "attempt_id",
  CAST('${braze_cohort.last_upload.outcome}' AS VARCHAR) AS "outcome",
  CAST(${braze_cohort.last_upload.identifiers.total} AS BIGINT) AS "identifiers",
  CAST(${braze_cohort.last_upload.delivered} AS BIGINT) AS "delivered",
  CAST('${braze_cohort.last_upload.summary.replace(/\s+/g, " ").replace(/'/g, "''")}' AS VARCHAR) AS "summary"
