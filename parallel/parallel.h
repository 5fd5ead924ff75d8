/* Many ranks: pipeline schedules and expert placement. */
#ifndef HONE_PARALLEL_PARALLEL_H
#define HONE_PARALLEL_PARALLEL_H

#include "parallel/eplb.h"
#include "parallel/schedule.h"

#endif
