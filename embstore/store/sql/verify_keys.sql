-- Which keys have more than one row? One row a key, as `example`. {key} are the columns that identify a row of {table}.
SELECT concat_ws(' ', {key}) AS example
FROM "{table}"
WHERE hash({key}) % $parts = $part
GROUP BY {key}
HAVING count(*) > 1
