from .bakeoff import (
    Bakeoff as Bakeoff,
    BakeoffEntry as BakeoffEntry,
    bake_off as bake_off,
    halves as halves,
)
from .evaluation import (
    EvaluationResult as EvaluationResult,
    evaluate as evaluate,
)
from .labelled import (
    LabelledStructure as LabelledStructure,
    elements_of as elements_of,
    is_clearly_above as is_clearly_above,
    model_errors as model_errors,
    resampled_errors as resampled_errors,
    within_elements as within_elements,
)
from .reference_shift import (
    fitted_shift_ev as fitted_shift_ev,
    shift_reference as shift_reference,
    shifted_points as shifted_points,
)
from .robustness import (
    replayed as replayed,
    robustness_card as robustness_card,
)
from .sampling import (
    Candidates as Candidates,
    Pick as Pick,
    assign_blocks as assign_blocks,
    select_frames as select_frames,
    split_last as split_last,
)
from .students.certificate import (
    Certificate as Certificate,
    OwnRuns as OwnRuns,
    certify_statics as certify_statics,
    errors_of as errors_of,
)
from .students.distillation import (
    Plan as Plan,
    distil as distil,
    teach_student as teach_student,
)
from .students.dynamics import (
    DynamicsComparison as DynamicsComparison,
    DynamicsPlan as DynamicsPlan,
    DynamicsRuns as DynamicsRuns,
)
from .students.training import (
    StudentRecipe as StudentRecipe,
    train_student as train_student,
)
from .training import (
    EpochLoop as EpochLoop,
    TrainedModel as TrainedModel,
    fine_tune as fine_tune,
)
from .tuning import (
    Trial as Trial,
    trial_configs as trial_configs,
    tune as tune,
)
