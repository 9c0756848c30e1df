-- Which values of {column} are in {table} and not in {holder}.{key}? One row a value, as `example`.
-- Their 64-bit hashes are compared, which are shorter than ids. An absent value is missed where it shares the hash of
-- one of n others: n / 2^64.
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
