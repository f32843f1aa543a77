from .blocks import (
    Album as Album,
    Cell as Cell,
    FigureView as FigureView,
    FolderAlbum as FolderAlbum,
    Part as Part,
    Reported as Reported,
    Section as Section,
    Statement as Statement,
    Table as Table,
    ours as ours,
    papers as papers,
)
from .data import (
    PRODUCTION as PRODUCTION,
    CellRun as CellRun,
    LearnedRound as LearnedRound,
    ParityPoints as ParityPoints,
    ReportData as ReportData,
    production_series as production_series,
)
from .figure_style import (
    BLUE as BLUE,
    GREY as GREY,
    HALF as HALF,
    INK as INK,
    MARKERS as MARKERS,
    RUST as RUST,
    SAND as SAND,
    WIDE as WIDE,
    inverse_thousand as inverse_thousand,
    log_axis as log_axis,
    plain_text as plain_text,
    save as save,
    series_colours as series_colours,
    shaded_colours as shaded_colours,
    spread_values as spread_values,
    styled as styled,
)
from .figures import (
    errors_figure as errors_figure,
    volume_figure as volume_figure,
)
from .methods import (
    methods_part as methods_part,
    methods_sections as methods_sections,
)
from .numbers import (
    MISSING as MISSING,
    as_printed as as_printed,
    confidence_text as confidence_text,
    counted as counted,
    duration_text as duration_text,
    fixed as fixed,
    listed as listed,
    number as number,
    probability as probability,
    scientific as scientific,
    together as together,
    told_apart as told_apart,
    with_error as with_error,
)
from .page import (
    Contents as Contents,
    report_contents as report_contents,
    write_report as write_report,
)
from .paper import (
    PaperTransport as PaperTransport,
    mae_targets as mae_targets,
    mae_triple as mae_triple,
    paper_model_row as paper_model_row,
    paper_numbers as paper_numbers,
    paper_sevennet as paper_sevennet,
    paper_system as paper_system,
    paper_transport as paper_transport,
    paper_volume_row as paper_volume_row,
    paper_volumes as paper_volumes,
    supercell_atoms as supercell_atoms,
)
from .published import (
    ROOM_TEMPERATURE_K as ROOM_TEMPERATURE_K,
    Experiment as Experiment,
    KnownCrossover as KnownCrossover,
    Reference as Reference,
    experiments as experiments,
    known_crossovers as known_crossovers,
)
from .rest import (
    AtRest as AtRest,
    volumes_at_rest as volumes_at_rest,
)
