-- The table comes with or without its database before it. The columns are the activation's attributes; config/cohort.yml maps them to what Braze knows.
SELECT
  "customer_id",
  "mail"
FROM
  "${activation_actions_table.split(".").pop()}"
