SELECT user_ids, 'remove' AS change
FROM (SELECT user_ids FROM braze_possible EXCEPT SELECT user_ids FROM braze_wanted) AS leaving
UNION ALL
SELECT user_ids, 'add' AS change
FROM (SELECT user_ids FROM braze_wanted EXCEPT SELECT user_ids FROM braze_confirmed) AS entering
