-- How well is each location told from the rest? One row an entry, level and class.
SELECT
    e.entry,
    e.dataset,
    e.task,
    e.split,
    e.backbone,
    e.strategy,
    e.head,
    e.floor,
    r.level,
    r.location,
    r.support,
    r.mean,
    r.sd,
    r.low,
    r.high
FROM entries AS e
INNER JOIN results AS r ON r.entry = e.entry
WHERE
    r.metric = 'f1'
    AND (CAST($dataset AS VARCHAR) IS NULL OR e.dataset = $dataset)
    AND (CAST($task AS VARCHAR) IS NULL OR e.task = $task OR split_part(e.task, ':', 1) = $task)
    AND (CAST($level AS VARCHAR) IS NULL OR r.level = $level)
    AND (CAST($entries AS VARCHAR []) IS NULL OR list_contains(CAST($entries AS VARCHAR []), e.entry))
ORDER BY e.dataset, e.task, e.split, e.backbone, e.strategy, e.head, e.entry, r.level DESC, r.location
