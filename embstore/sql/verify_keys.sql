-- Which keys have more than one row? One row: how many, and the smallest. {key} are the columns that identify a row of {table}.
SELECT count(*) AS n, min(example) AS example
FROM (
    SELECT concat_ws(' ', {key}) AS example
    FROM "{table}"
    WHERE hash({key}) % $parts = $part
    GROUP BY {key}
    HAVING count(*) > 1
)
