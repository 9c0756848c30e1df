-- What can be asked of the store? One row a label set and level.
SELECT
    split_part(label_set, '/', 1) AS dataset,
    substr(label_set, strpos(label_set, '/') + 1) AS scheme,
    label_set,
    level,
    count(DISTINCT location) AS n_locations,
    count(DISTINCT subject_id) AS n_subjects
FROM labels
GROUP BY label_set, level
ORDER BY label_set, level
