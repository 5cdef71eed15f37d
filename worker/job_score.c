#include "worker/scoring.h"

mffa_code mffa_job_score(mffa_job *j, mffa_err *err) {
    MFFA_AUTO(mffa_scoring_done) mffa_scoring s = {0};
    mffa_figure threshold = {.reason = "the job gave no threshold"};
    threshold.known = mffa_job_text(j, "threshold", NULL);
    mffa_code rc = mffa_job_num(j, "threshold", &threshold.value, err);
    if (!rc) rc = mffa_scoring_open(&s, j, MFFA_USE_SCORE, err);
    if (!rc) rc = mffa_scoring_run(&s, err);
    if (rc) return rc;
    s.scores.threshold = threshold;
    s.scores.threshold_from = threshold.known ? "field" : NULL;
    return mffa_scoring_conclude(&s, err);
}
