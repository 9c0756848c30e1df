-- Which keys have more than one row? One row for each key, as `example`. {key} are the columns that identify a row of
-- {table}. Hashes are grouped, because they are shorter than keys; only keys whose hash occurs twice are compared.
WITH doubtful AS (
    SELECT hash({key}) AS hashed
    FROM "{table}"
    WHERE hash({key}) % $parts = $part
    GROUP BY hashed
    HAVING count(*) > 1
)
SELECT concat_ws(' ', {key}) AS example
FROM "{table}"
WHERE hash({key}) IN (SELECT hashed FROM doubtful)
GROUP BY {key}
HAVING count(*) > 1
