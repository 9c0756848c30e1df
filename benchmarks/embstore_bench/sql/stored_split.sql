-- What is stored about a split, and how many entries were scored on it? One row.
SELECT
    s.*,
    (SELECT count(*) FROM entries AS e WHERE list_contains(string_split(e.split_digest, ','), s.digest)) AS n_entries
FROM splits AS s
WHERE s.name = $name
ORDER BY s.name
