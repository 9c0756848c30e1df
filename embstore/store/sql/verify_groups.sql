-- Which images or profiles name proteins of several groups? One row for each image or profile, as `example`.
WITH named AS (
    SELECT image_id AS subject, unnest(protein_ids) AS protein_id
    FROM images
    WHERE hash(image_id) % $parts = $part
    UNION ALL
    SELECT profile_id AS subject, unnest(protein_ids) AS protein_id
    FROM profiles
    WHERE hash(profile_id) % $parts = $part
)
SELECT n.subject AS example
FROM named AS n
INNER JOIN proteins AS p ON p.protein_id = n.protein_id
GROUP BY n.subject
HAVING count(DISTINCT p.group_id) > 1
