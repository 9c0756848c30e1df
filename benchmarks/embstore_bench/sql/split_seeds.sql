-- Which seeds of one family of splits are stored? One row for each seed.
SELECT s.seed
FROM splits AS s
WHERE s.label_set = $label_set AND s.by = $by AND s.k = $k
ORDER BY s.seed
