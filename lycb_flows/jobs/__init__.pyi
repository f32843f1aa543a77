from .dft import (
    AnchorMaker as AnchorMaker,
    DftRelaxMaker as DftRelaxMaker,
)
from .distilling import (
    DistilMaker as DistilMaker,
)
from .dynamics import (
    MDMaker as MDMaker,
)
from .foundations import (
    foundation_of as foundation_of,
)
from .labelling import (
    SelectMaker as SelectMaker,
    VaspLabelMaker as VaspLabelMaker,
    try_label as try_label,
)
from .learning import (
    EvaluateMaker as EvaluateMaker,
    FineTuneMaker as FineTuneMaker,
    TrainMaker as TrainMaker,
    evaluate_all as evaluate_all,
)
from .measuring import (
    QuantityMaker as QuantityMaker,
)
from .resources import (
    deciding_job as deciding_job,
    open_store as open_store,
    working_on as working_on,
)
from .rounds import (
    round_of as round_of,
)
from .structures import (
    CampaignSystem as CampaignSystem,
    EnumerateMaker as EnumerateMaker,
    RankMaker as RankMaker,
)
from .tasks import (
    LabelFromTaskMaker as LabelFromTaskMaker,
    TaskLabeler as TaskLabeler,
)
