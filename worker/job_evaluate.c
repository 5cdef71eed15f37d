#include "worker/scoring.h"

mffa_code mffa_job_evaluate(mffa_job *j, mffa_err *err) {
    MFFA_AUTO(mffa_scoring_done) mffa_scoring s = {0};
    mffa_code rc = mffa_scoring_open(&s, j, MFFA_USE_TEST, err);
    if (!rc) rc = mffa_scoring_run(&s, err);
    if (rc) return rc;
    s.scores.threshold = s.figures.f1_threshold;
    s.scores.threshold_from = s.scores.threshold.known ? "f1_max" : NULL;
    return mffa_scoring_conclude(&s, err);
}
