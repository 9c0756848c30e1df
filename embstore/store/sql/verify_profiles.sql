-- Which profiles have no vector in any space? One row a profile, as `example`.
-- {vectors} lists the ids of all vectors of profiles, by a query for each space; hashes are compared, as in verify_absent.sql.
SELECT profile_id AS example
FROM (
    SELECT profile_id, hash(profile_id) AS hashed
    FROM profiles
    WHERE hash(profile_id) % $parts = $part
)
ANTI JOIN (
    SELECT hash(id) AS hashed
    FROM ({vectors})
    WHERE hash(id) % $parts = $part
) USING (hashed)
