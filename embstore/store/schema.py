"""The tables of a store and their columns; `tables.toml` describes each of them, and docs/tables.md lists them."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

FORMAT_VERSION = 2
PRIMARY_KEY = {b"lance-schema:unenforced-primary-key": b"true"}

# format -> table -> columns added in it; the first write to a store of an older format adds them, null in its old rows
ADDED_COLUMNS: dict[int, dict[str, tuple[str, ...]]] = {2: {"spaces": ("filling", "normalisation")}}

# tables added without a new format: older stores lack them until the first row is written
LATER_TABLES = ("ingests", "imported", "location_maps")

# the emb_<digest> tables, one for each space, contain only an id and its vector
EMBEDDINGS_PREFIX = "emb_"
TIME = pa.timestamp("us", tz="UTC")
STRINGS = pa.list_(pa.string())


@dataclass(frozen=True)
class Table:
    """One table: its name, the columns that identify a row, and its schema."""

    name: str
    key: tuple[str, ...]
    schema: pa.Schema


def _table(name: str, key: str, /, **columns: pa.DataType) -> Table:
    keys = tuple(key.split())
    fields = [pa.field(k, columns[k], nullable=False, metadata=PRIMARY_KEY) for k in keys]
    fields += [pa.field(c, t) for c, t in columns.items() if c not in keys]
    return Table(name, keys, pa.schema(fields))


IMAGE_FILE = pa.struct([("path", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64()), ("sha256", pa.string())])

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        _table("store_meta", "name", name=pa.string(), format_version=pa.int32(), created=TIME, written_by=pa.string()),
        _table(
            "images",
            "image_id revision",
            image_id=pa.string(),
            revision=pa.int32(),
            dataset=pa.string(),
            source_root=pa.string(),
            files=pa.list_(IMAGE_FILE),
            sha256=pa.string(),
            roles=STRINGS,
            shape=pa.list_(pa.int32()),
            pixel_size_um=pa.float64(),
            pixel_size_source=pa.string(),
            segmentation=pa.string(),
            plate=pa.string(),
            well=pa.string(),
            site=pa.string(),
            cell_line=pa.string(),
            protein_ids=STRINGS,
            genes=STRINGS,
            antibody=pa.string(),
            licence=pa.string(),
            extra=pa.string(),
            note=pa.string(),
            ingested=TIME,
        ),
        _table(
            "cells",
            "cell_id",
            cell_id=pa.string(),
            image_id=pa.string(),
            segmentation=pa.string(),
            label=pa.int32(),
            box=pa.list_(pa.int32(), 4),
            centroid=pa.list_(pa.float32(), 2),
            nucleus_area_um2=pa.float32(),
            cell_area_um2=pa.float32(),
            zoom=pa.float32(),
            roles_present=STRINGS,
            flags=STRINGS,
            mask=pa.binary(),
            nucleus_mask=pa.binary(),
            thumbnail=pa.binary(),
        ),
        _table(
            "ingested",
            "image_id space",
            image_id=pa.string(),
            space=pa.string(),
            revision=pa.int32(),
            segmentation=pa.string(),
            n_cells=pa.int32(),
        ),
        _table(
            "profiles",
            "profile_id",
            profile_id=pa.string(),
            dataset=pa.string(),
            protein_ids=STRINGS,
            genes=STRINGS,
            source=pa.string(),
            row=pa.int64(),
        ),
        _table(
            "imported",
            "profile_id space",
            profile_id=pa.string(),
            space=pa.string(),
            source=pa.string(),
            row=pa.int64(),
        ),
        _table(
            "proteins",
            "protein_id",
            protein_id=pa.string(),
            gene=pa.string(),
            synonyms=STRINGS,
            group_id=pa.string(),
            seen_in_pretraining=STRINGS,
        ),
        _table(
            "labels",
            "label_set level subject_id location",
            label_set=pa.string(),
            level=pa.string(),
            subject_id=pa.string(),
            location=pa.string(),
            grade=pa.int8(),
            source=pa.string(),
            revision=pa.int32(),
        ),
        _table(
            "spaces",
            "digest",
            digest=pa.string(),
            backbone=pa.string(),
            revision=pa.int32(),
            weights_sha256=pa.string(),
            strategy=pa.string(),
            roles=STRINGS,
            fill=pa.float64(),
            crop_um=pa.float64(),
            input_px=pa.int32(),
            masked=pa.bool_(),
            intensity=pa.string(),
            resampling=pa.string(),
            pooling=pa.string(),
            unit=pa.string(),
            precision=pa.string(),
            dim=pa.int32(),
            canary=pa.list_(pa.float32()),
            created=TIME,
            filling=pa.string(),
            normalisation=pa.string(),
        ),
        _table(
            "splits",
            "name",
            name=pa.string(),
            dataset=pa.string(),
            label_set=pa.string(),
            by=pa.string(),
            k=pa.int32(),
            seed=pa.int64(),
            spec=pa.string(),
            sql=pa.string(),
            digest=pa.string(),
            audit=pa.string(),
            created=TIME,
        ),
        _table(
            "split_groups",
            "name group_id",
            name=pa.string(),
            group_id=pa.string(),
            fold=pa.int32(),
        ),
        _table(
            "entries",
            "entry",
            entry=pa.string(),
            task=pa.string(),
            task_version=pa.int32(),
            dataset=pa.string(),
            label_set=pa.string(),
            split=pa.string(),
            split_digest=pa.string(),
            backbone=pa.string(),
            strategy=pa.string(),
            space=pa.string(),
            unit=pa.string(),
            head=pa.string(),
            params=pa.string(),
            floor=pa.bool_(),
            protocol=pa.int32(),
            classes=STRINGS,
            left_out=pa.string(),
            n_folds=pa.int32(),
            n_seeds=pa.int32(),
            n_units=pa.int64(),
            n_groups=pa.int64(),
            table_versions=pa.string(),
            content_digest=pa.string(),
            code_version=pa.string(),
            libraries=pa.string(),
            device=pa.string(),
            elapsed_s=pa.float64(),
            tag=pa.string(),
            note=pa.string(),
            created=TIME,
        ),
        _table(
            "runs",
            "entry seed fold",
            entry=pa.string(),
            seed=pa.int32(),
            fold=pa.int32(),
            chosen=pa.string(),
            thresholds=pa.list_(pa.float32()),
            n_train=pa.int64(),
            n_validation=pa.int64(),
            n_test=pa.int64(),
            elapsed_s=pa.float64(),
        ),
        _table(
            "results",
            "entry metric level location",
            entry=pa.string(),
            metric=pa.string(),
            level=pa.string(),
            location=pa.string(),
            mean=pa.float64(),
            sd=pa.float64(),
            low=pa.float64(),
            high=pa.float64(),
            support=pa.int64(),
        ),
        _table(
            "predictions",
            "entry seed id",
            entry=pa.string(),
            seed=pa.int32(),
            id=pa.string(),
            fold=pa.int32(),
            scores=pa.list_(pa.float32()),
            predicted=pa.list_(pa.bool_()),
            actual=pa.list_(pa.bool_()),
        ),
        _table(
            "failures",
            "source stage",
            source=pa.string(),
            stage=pa.string(),
            error=pa.string(),
            todo=pa.string(),
            size=pa.int64(),
            mtime_ns=pa.int64(),
            failed_at=TIME,
        ),
        # One name of a location that a map renamed as it was added to a label set.
        _table(
            "location_maps",
            "label_set revision name",
            label_set=pa.string(),
            revision=pa.int32(),  # that labels got with it
            name=pa.string(),  # in the table of labels
            locations=STRINGS,  # what it became; none where it was left out
            n_labels=pa.int64(),  # under that name
            map=pa.string(),  # the table, or published vocabulary, that says so
            source=pa.string(),  # the table of labels
            added=TIME,
        ),
        _table(
            "ingests",
            "run",
            run=pa.string(),
            kind=pa.string(),
            dataset=pa.string(),
            status=pa.string(),
            error=pa.string(),
            who=pa.string(),
            pid=pa.int64(),
            command=pa.string(),
            arguments=pa.string(),
            code_version=pa.string(),
            libraries=pa.string(),
            device=pa.string(),
            backbones=STRINGS,
            spaces=STRINGS,
            planned=pa.int64(),
            done=pa.int64(),
            unchanged=pa.int64(),
            failed=pa.int64(),
            cells=pa.int64(),
            vectors=pa.int64(),
            started=TIME,
            finished=TIME,
            elapsed_s=pa.float64(),
            peak_memory_mb=pa.float64(),
        ),
    )
}


def embeddings(digest: str, dim: int, *, half: bool) -> Table:
    """Return the table of one space: `id` and `vector`, a fixed-size list of float16 (half) or float32."""
    value = pa.float16() if half else pa.float32()
    return _table(embeddings_name(digest), "id", id=pa.string(), vector=pa.list_(value, dim))


def embeddings_name(digest: str) -> str:
    """Return the table name of a space."""
    return EMBEDDINGS_PREFIX + digest[:12]


def is_known(name: str) -> bool:
    """True if a store may have a table of this name."""
    return name in TABLES or name.startswith(EMBEDDINGS_PREFIX)


def key_of(name: str) -> tuple[str, ...]:
    """Return the columns that identify a row of a table."""
    return TABLES[name].key if name in TABLES else ("id",)
