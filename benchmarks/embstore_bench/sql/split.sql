-- In which fold is each group of a labelled dataset? One row a group, its fold and its locations.
-- Units without a protein have no group where $grouping is 'protein'; else a well or an image is the group by image.
-- Groups are ordered by their rarest location (those with at least k groups first), ties by md5 of "seed:group", and
-- dealt round robin: every location whose groups have nothing rarer is spread as evenly as it can be.
WITH dataset_units AS (
    SELECT *
    FROM units
    WHERE dataset = $dataset
),
unit_labels AS (
    {unit_labels}
),
member AS (
    SELECT DISTINCT
        CASE
            WHEN $by = 'protein' THEN u.group_id
            WHEN $by = 'cell' THEN u.id
            WHEN $grouping = 'well' THEN u.well
            ELSE u.image_id
        END AS group_id,
        l.location
    FROM dataset_units AS u
    INNER JOIN unit_labels AS l ON l.id = u.id
    WHERE u.group_id IS NOT NULL OR $grouping <> 'protein'
),
support AS (
    SELECT location, count(*) AS n_groups, count(*) < $k AS too_rare
    FROM member
    WHERE group_id IS NOT NULL
    GROUP BY location
),
ranked AS (
    SELECT
        m.group_id,
        s.too_rare,
        s.n_groups,
        m.location,
        list(m.location) OVER (
            PARTITION BY m.group_id ORDER BY m.location ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS locations
    FROM member AS m
    INNER JOIN support AS s ON s.location = m.location
    WHERE m.group_id IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY m.group_id ORDER BY s.too_rare, s.n_groups, m.location) = 1
)
SELECT
    group_id,
    locations,
    CAST((row_number() OVER (ORDER BY too_rare, n_groups, location, md5($seed || ':' || group_id), group_id) - 1) % $k AS INTEGER)
        AS fold
FROM ranked
ORDER BY md5($seed || ':' || group_id), group_id
