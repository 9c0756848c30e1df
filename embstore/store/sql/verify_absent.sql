-- Which values of {column} are in {table} and not in {holder}.{key}? One row a value, as `example`.
SELECT wanted AS example
FROM (
    SELECT DISTINCT {column} AS wanted
    FROM "{table}"
    WHERE {where} AND hash({column}) % $parts = $part
)
ANTI JOIN (
    SELECT {key} AS wanted
    FROM "{holder}"
    WHERE hash({key}) % $parts = $part
) USING (wanted)
