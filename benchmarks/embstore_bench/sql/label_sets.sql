-- Which label sets does the store have? One row for each label set.
SELECT DISTINCT
    split_part(label_set, '/', 1) AS dataset,
    substr(label_set, strpos(label_set, '/') + 1) AS scheme
FROM labels
ORDER BY dataset, scheme
