SELECT user_ids FROM braze_wanted
