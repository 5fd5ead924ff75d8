// want: CE
// the compiler reads no file of the host
#include "/etc/shadow"
#include "/root/.bashrc"
int main(void) { return 0; }
