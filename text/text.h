/* Text in and out of a model: tokenizers, chat templates. */
#ifndef HONE_TEXT_TEXT_H
#define HONE_TEXT_TEXT_H

#include "text/template.h"
#include "text/tokenizer.h"

#endif
