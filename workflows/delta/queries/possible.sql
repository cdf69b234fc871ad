CREATE TABLE IF NOT EXISTS braze_possible (user_ids VARCHAR)
