-- Which entries are shown? One row for each entry.
-- Entries that differ only in content (relabelled, embedded or ingested again, or scored on the units that another space
-- has too) look alike: the one on most units represents them, the newest among equals.
-- Those of an older protocol, whose numbers have another meaning, are shown only if all are requested, or they are named.
-- Those of a superseded task are shown if they or their task are named; $successors are in order of $superseded_tasks.
SELECT
    *,
    CAST($successors AS VARCHAR [])[
        list_position(CAST($superseded_tasks AS VARCHAR []), split_part(task, ':', 1))
    ] AS superseded_by
FROM entries
WHERE
    (CAST($dataset AS VARCHAR) IS NULL OR dataset = $dataset)
    AND (CAST($task AS VARCHAR) IS NULL OR task = $task OR split_part(task, ':', 1) = $task)
    AND (CAST($entries AS VARCHAR []) IS NULL OR list_contains(CAST($entries AS VARCHAR []), entry))
    AND ($superseded OR $entries IS NOT NULL OR protocol = $protocol)
    AND ($superseded OR $entries IS NOT NULL OR $task IS NOT NULL OR superseded_by IS NULL)
QUALIFY
    $superseded
    OR $entries IS NOT NULL
    OR row_number() OVER (
        PARTITION BY task, dataset, split, unit, backbone, strategy, space, head, params, floor
        ORDER BY n_units DESC, created DESC, entry
    ) = 1
