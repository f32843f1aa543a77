from .architecture import (
    ARCHITECTURES as ARCHITECTURES,
    ModelSource as ModelSource,
    Rates as Rates,
    model_names as model_names,
    rates_of as rates_of,
)
from .building import (
    fields as fields,
)
from .calculators import (
    absolute_model as absolute_model,
    is_file as is_file,
)
from .chgnet import (
    CHGNetPotential as CHGNetPotential,
    TorchEvaluator as TorchEvaluator,
)
from .compiled import (
    CompiledEvaluator as CompiledEvaluator,
    flop_per_evaluation as flop_per_evaluation,
    load_library as load_library,
)
from .evaluator import (
    Evaluator as Evaluator,
    HasEvaluator as HasEvaluator,
    Numbers as Numbers,
    SinglePoint as SinglePoint,
)
from .licences import (
    licence_texts as licence_texts,
    write_licences as write_licences,
)
from .models import (
    check_trainable as check_trainable,
    find_model as find_model,
    load_potential as load_potential,
    write_model as write_model,
)
from .nep.architecture import (
    NEP_MEDIA_TYPE as NEP_MEDIA_TYPE,
    NEP_RATES as NEP_RATES,
    Nep as Nep,
)
from .nep.file import (
    NepShape as NepShape,
    NepWeights as NepWeights,
)
from .nep.layers import (
    NepModule as NepModule,
    NepOutput as NepOutput,
)
from .nep.learner import (
    NepLearner as NepLearner,
    load_trainer as load_trainer,
)
from .nep.neighbours import (
    NepGraph as NepGraph,
    join_graphs as join_graphs,
)
from .nep.potential import (
    NepPotential as NepPotential,
)
from .potential import (
    Potential as Potential,
)
from .shipped import (
    ShippedTraining as ShippedTraining,
    is_ours as is_ours,
    shipped_training as shipped_training,
)
from .trainable import (
    BatchOutput as BatchOutput,
    Trainable as Trainable,
    require_trainable as require_trainable,
)
