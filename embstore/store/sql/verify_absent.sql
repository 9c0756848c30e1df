-- Which values of {column} are in {table} but not in {holder}.{key}? One row for each value, as `example`.
-- 64-bit hashes are compared, because they are shorter than ids. An absent value is missed if its hash equals that of one
-- of n others: probability n / 2^64.
SELECT DISTINCT {column} AS example
FROM (
    SELECT {column}, hash({column}) AS hashed
    FROM "{table}"
    WHERE {where} AND hash({column}) % $parts = $part
)
ANTI JOIN (
    SELECT hash({key}) AS hashed
    FROM "{holder}"
    WHERE hash({key}) % $parts = $part
) USING (hashed)
