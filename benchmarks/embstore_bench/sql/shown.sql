-- Which entries are shown? One row an entry.
-- Entries that differ only in content (relabelled, embedded or ingested again) look alike: the newest stands for them.
SELECT *
FROM entries
WHERE
    (CAST($dataset AS VARCHAR) IS NULL OR dataset = $dataset)
    AND (CAST($task AS VARCHAR) IS NULL OR task = $task OR split_part(task, ':', 1) = $task)
    AND (CAST($entries AS VARCHAR []) IS NULL OR list_contains(CAST($entries AS VARCHAR []), entry))
QUALIFY
    $superseded
    OR $entries IS NOT NULL
    OR row_number() OVER (
        PARTITION BY task, dataset, split, unit, backbone, strategy, space, head, params, floor
        ORDER BY created DESC, entry
    ) = 1
