-- How well is each location distinguished from the others? One row for each entry, level and class.
WITH shown AS (
    {shown}
)
SELECT
    e.entry,
    e.dataset,
    e.task,
    e.split,
    e.backbone,
    e.strategy,
    e.space,
    e.head,
    e.floor,
    r.level,
    r.location,
    r.support,
    r.mean,
    r.sd,
    r.low,
    r.high
FROM shown AS e
INNER JOIN results AS r ON r.entry = e.entry
WHERE
    r.metric = 'f1'
    AND (CAST($level AS VARCHAR) IS NULL OR r.level = $level)
ORDER BY e.dataset, e.task, e.split, e.backbone, e.strategy, e.head, e.entry, r.level DESC, r.location
