-- One row a failed attempt, for a report or an alert of yours. The reason stands in the attempt's log.
SELECT
  'upload' AS workflow,
  '${session_time}' AS session_time,
  '${attempt_id}' AS attempt_id
