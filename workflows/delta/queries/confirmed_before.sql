-- Who is still certainly a member once the upload has begun.
SELECT user_ids FROM braze_confirmed
INTERSECT
SELECT user_ids FROM braze_wanted
