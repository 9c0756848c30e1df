-- What can be asked of the store? One row a label set.
SELECT DISTINCT
    split_part(label_set, '/', 1) AS dataset,
    substr(label_set, strpos(label_set, '/') + 1) AS scheme
FROM labels
ORDER BY dataset, scheme
