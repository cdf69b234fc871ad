-- Who may be a member once the upload has begun. Whoever is confirmed is possible, also where that table was lost.
SELECT user_ids FROM braze_possible
UNION
SELECT user_ids FROM braze_confirmed
UNION
SELECT user_ids FROM braze_wanted
