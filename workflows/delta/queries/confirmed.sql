CREATE TABLE IF NOT EXISTS braze_confirmed (user_ids VARCHAR)
