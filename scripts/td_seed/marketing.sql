-- What workflows/ selects from. The gold plan has exactly the rows of workflows/local/members.csv.
CREATE TABLE customers (external_id VARCHAR, device_id VARCHAR, email VARCHAR, plan VARCHAR);
INSERT INTO customers VALUES
  ('u-1001', NULL, 'ann@example.com', 'gold'),
  ('u-1002', NULL, '', 'gold'),
  (NULL, NULL, 'bob@example.com', 'gold'),
  (NULL, 'device-7f3a', NULL, 'gold'),
  (NULL, NULL, '"doe, jane"@example.com', 'gold'),
  (NULL, NULL, 'zoë@example.com', 'gold'),
  (NULL, NULL, NULL, 'gold'),
  ('u-9999', NULL, NULL, 'gold'),
  ('u-1005', NULL, 'eve@example.com', 'silver'),
  ('u-1003', NULL, 'bob@example.com', 'silver'),
  ('u-1004', NULL, NULL, 'free');
