-- Which splits are stored? One row for each split.
SELECT s.name, s.dataset, s.label_set, s.by, s.k, s.seed, count(g.group_id) AS n_groups, s.digest, s.created
FROM splits AS s
LEFT JOIN split_groups AS g ON g.name = s.name
GROUP BY ALL
ORDER BY s.name
