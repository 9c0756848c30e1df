-- What is the score of each entry, the best first? One row for each entry, metric and level, over all classes.
WITH shown AS (
    {shown}
)
SELECT
    e.entry,
    e.task,
    e.dataset,
    e.split,
    e.backbone,
    e.strategy,
    e.unit,
    e.head,
    r.metric,
    r.mean,
    r.sd,
    r.low,
    r.high,
    e.n_folds,
    e.n_seeds,
    e.n_units AS n_test,
    coalesce(s.pooling, '') AS pooling,
    r.level,
    e.floor,
    e.n_groups,
    e.space,
    e.note,
    e.created,
    e.superseded_by
FROM shown AS e
INNER JOIN results AS r ON r.entry = e.entry
LEFT JOIN spaces AS s ON s.digest = e.space
WHERE
    r.location = ''
    AND (CAST($metric AS VARCHAR) IS NULL OR r.metric = $metric)
    AND (CAST($level AS VARCHAR) IS NULL OR r.level = $level)
ORDER BY e.dataset, e.task, e.unit, e.split, r.metric, r.level DESC, r.mean DESC, e.backbone, e.strategy, e.head, e.entry
