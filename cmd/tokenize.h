/* Private to cmd/tokenize*.c. */
#ifndef HONE_CMD_TOKENIZE_H
#define HONE_CMD_TOKENIZE_H

int cmd_tokenize_train(int argc, char **argv);

#endif
