-- A run of an activation: attributes under the names of the parent segment. The members are those of workflows/local.
CREATE TABLE gold_members (customer_id VARCHAR, mail VARCHAR, plan VARCHAR);
INSERT INTO gold_members VALUES
  ('u-1001', 'ann@example.com', 'gold'),
  ('u-1002', NULL, 'gold'),
  (NULL, 'zoë@example.com', 'gold');
