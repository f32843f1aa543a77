from .catalogue import (
    Condition as Condition,
    Row as Row,
    RowId as RowId,
    Settled as Settled,
    catalogue_columns as catalogue_columns,
    check_columns as check_columns,
    id_of as id_of,
    is_behind as is_behind,
    mark_begun as mark_begun,
    mark_current as mark_current,
    read_condition as read_condition,
    settled_groups as settled_groups,
)
from .checks import (
    Counts as Counts,
    seal as seal,
    verify as verify,
)
from .connecting import (
    connect as connect,
    why_unusable as why_unusable,
)
from .copies import (
    blobs_in as blobs_in,
    copy_documents as copy_documents,
    differences as differences,
)
from .garbage import (
    list_garbage as list_garbage,
    sweep as sweep,
)
from .kinds import (
    QUANTITIES as QUANTITIES,
    all_kinds as all_kinds,
    document_class as document_class,
    method_versions as method_versions,
)
from .left_behind import (
    note_left_behind as note_left_behind,
)
from .mongodb import (
    MongoStore as MongoStore,
)
from .opening import (
    MONGODB_SCHEMES as MONGODB_SCHEMES,
    open_store as open_store,
)
from .outages import (
    explained as explained,
    in_one_line as in_one_line,
    is_of_database as is_of_database,
    is_outage as is_outage,
    survives_outages as survives_outages,
)
from .parents import (
    load_cell as load_cell,
    load_crystal as load_crystal,
)
from .provenance import (
    MadeNow as MadeNow,
    now as now,
    user_name as user_name,
)
from .pruning import (
    prune as prune,
)
from .records import (
    Attempt as Attempt,
    AttemptId as AttemptId,
    Edges as Edges,
    Outcome as Outcome,
    Record as Record,
    Totals as Totals,
    pages as pages,
)
from .results import (
    ResultStore as ResultStore,
)
from .trajectories import (
    trajectory_of as trajectory_of,
)
