"""Find the problems of a data set, and write a repaired copy."""

from centernet2.data.check.corrections import Correction as Correction
from centernet2.data.check.corrections import read_accepted as read_accepted
from centernet2.data.check.corrections import require_undecided as require_undecided
from centernet2.data.check.examination import Examination as Examination
from centernet2.data.check.examination import ExaminedSplit as ExaminedSplit
from centernet2.data.check.examination import examine_dataset as examine_dataset
from centernet2.data.check.label_errors import LabelError as LabelError
from centernet2.data.check.label_errors import LabelView as LabelView
from centernet2.data.check.label_errors import find_label_errors as find_label_errors
from centernet2.data.check.label_errors import share_of_agreement as share_of_agreement
from centernet2.data.check.repair import list_of_changes as list_of_changes
from centernet2.data.check.repair import repaired_files as repaired_files
from centernet2.data.check.repair import write_repaired as write_repaired
from centernet2.data.check.suggestions import suggestion_records as suggestion_records
from centernet2.data.findings import MAX_EXAMPLES as MAX_EXAMPLES
from centernet2.data.findings import Finding as Finding
from centernet2.data.findings import ProblemExample as ProblemExample
from centernet2.data.findings import findings_json as findings_json
