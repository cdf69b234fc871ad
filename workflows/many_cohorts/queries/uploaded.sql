-- The row of a successful session. Keep its columns in the order of failed.sql.
SELECT
  CAST('${task_name.split(/[+^]/)[1]}' AS VARCHAR) AS "workflow",
  CAST('${session_time}' AS VARCHAR) AS "session_time",
  CAST('${attempt_id}' AS VARCHAR) AS "attempt_id",
  CAST('${td.last_results.outcome}' AS VARCHAR) AS "outcome",
  CAST(${td.last_results.identifiers} AS BIGINT) AS "identifiers",
  CAST(${td.last_results.delivered} AS BIGINT) AS "delivered",
  CAST('${td.last_results.uploaded} of ${cohorts.length} cohorts' AS VARCHAR) AS "summary"
