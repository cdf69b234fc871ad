SELECT
  (SELECT COUNT(DISTINCT user_ids) FROM braze_wanted) AS wanted,
  (SELECT COUNT(*) FROM (SELECT user_ids FROM braze_possible UNION SELECT user_ids FROM braze_confirmed) AS known) AS possible,
  (SELECT COUNT(*) FROM braze_possible) AS in_snapshot
