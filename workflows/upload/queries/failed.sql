-- The row of a failed session. outcome is the class of the error, such as SafetyLimitError (exit code 6) or StoppedError.
SELECT
  CAST('${task_name.split(/[+^]/)[1]}' AS VARCHAR) AS "workflow",
  CAST('${session_time}' AS VARCHAR) AS "session_time",
  CAST('${attempt_id}' AS VARCHAR) AS "attempt_id",
  CAST('${(error.message.match(/.*\((\w+Error)\)/) || ["", "error"])[1]}' AS VARCHAR) AS "outcome",
  CAST(NULL AS BIGINT) AS "identifiers",
  CAST(NULL AS BIGINT) AS "delivered",
  CAST('${error.message.replace(/\s+/g, " ").slice(0, 1000).replace(/'/g, "''")}' AS VARCHAR) AS "summary"
