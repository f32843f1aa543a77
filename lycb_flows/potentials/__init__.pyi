from .architecture import (
    ARCHITECTURES as ARCHITECTURES,
    model_names as model_names,
)
from .calculators import (
    absolute_model as absolute_model,
    is_file as is_file,
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
from .models import (
    check_trainable as check_trainable,
    find_model as find_model,
    load_potential as load_potential,
)
from .potential import (
    Potential as Potential,
)
from .trainable import (
    BatchOutput as BatchOutput,
    Trainable as Trainable,
    require_trainable as require_trainable,
)
