# make            build ./hone              make test      install what is missing, build, run the tests
# make demo       install, build, run the main job (SEED=1)
# make deps       install the Debian packages that are missing
# make test-san   the suite under ASan+UBSan, then TSan
# make lint       layers, prefixes, sizes, banned calls, headers alone
# make bench      timings (never run by test)
# make gpu-bundle a folder to check the CUDA backend with on another machine: tools/gpu_check.sh
# make info       what was found            make help      this list        make clean
# Variables: DEBUG=1 -O0   SAN=address|thread   V=1 show commands   ONLY=name run one test   NVCC= no CUDA
, := ,
CC      ?= cc
NVCC    ?= $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
B       := build$(if $(SAN),-$(SAN))$(if $(DEBUG),-debug)
HONE    := $(if $(SAN)$(DEBUG),$(B)/hone,hone)
FOLDERS := core kernels text sandbox script parallel datasets model plan train rollout rewards sft grpo cmd
PKGS    := sqlite3 lua5.4 libgit2 libcurl jansson oniguruma libseccomp gmp libxxhash libzstd

PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null | sed 's/-I/-isystem /g')
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)

SANFLAGS := $(if $(filter address,$(SAN)),-fsanitize=address$(,)undefined -fno-sanitize-recover=undefined)$(if $(filter thread,$(SAN)),-fsanitize=thread)
CFLAGS   := -std=gnu11 -D_GNU_SOURCE -g $(if $(DEBUG),-O0,-O2) -ffp-contract=off -fno-math-errno -fno-strict-aliasing -pthread \
            -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Werror -I. $(PKG_CFLAGS) $(SANFLAGS)
# One source, several instruction sets: the file name says which flags it gets.
ISA_portable   := -Wno-psabi
ISA_avx2       := -mavx2 -mfma -mf16c
ISA_avx512     := $(ISA_avx2) -mavx512f -mavx512bw -mavx512vl -mavx512dq
ISA_avx512bf16 := $(ISA_avx512) -mavx512bf16
isa = $(ISA_$(lastword $(subst _, ,$(basename $(notdir $(1))))))
LDLIBS  := $(PKG_LIBS) -lm

Q   := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $@;)

SRC   := $(filter-out kernels/cuda/%,$(wildcard $(FOLDERS:%=%/*.c) $(FOLDERS:%=%/*/*.c)))
OBJ   := $(SRC:%.c=$(B)/%.o)
# what runs inside the sandbox is a program of its own that hone carries (sandbox/image.c)
INNER := $(patsubst %,$(B)/sandbox/%.o,keeper box root cell tree_slot enter filter run usage zygote heaps)
LIB   := $(filter-out $(B)/cmd/main.o $(INNER),$(OBJ))
UNIT  := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/*.c))
FUZZ  := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/*.c))
BENCH := $(patsubst %.c,$(B)/%,$(wildcard bench/*.c))

# CUDA: with nvcc the backend is part of hone (the runtime linked in: hone starts where there is no driver); the same kernels as C++ for the
# host are what the tests run (kernels/cuda/emu.h).
CU        := $(wildcard kernels/cuda/*.cu)
CXX       ?= c++
NVCC      := $(if $(SAN)$(DEBUG),,$(NVCC))
CUDA_OBJ  := $(if $(NVCC),$(CU:%=$(B)/%.o))
CUDA_HOME := $(if $(NVCC),$(patsubst %/bin/,%,$(dir $(NVCC))))
CUDA_LIBS := $(if $(NVCC),-L$(CUDA_HOME)/lib64 -lcudart_static -ldl -lrt)
# Hopper's own instructions, and PTX that the driver compiles for anything from compute capability 8.0 on
CUDA_ARCH := -gencode=arch=compute_90a,code=sm_90a -gencode=arch=compute_80,code=compute_80
NVFLAGS   := -std=c++20 -O3 -fmad=false -I. $(CUDA_ARCH) --compiler-options -Wall,-ffp-contract=off,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics
EMU_OBJ   := $(CU:%=$(B)/emu/%.o) $(B)/kernels/cuda/emu.o
# no stack checks: the sanitizer does not follow fibers
EMU_SAN   := $(if $(filter address,$(SAN)),-fsanitize=address$(,)undefined -fno-sanitize-recover=undefined --param asan-stack=0)
EMUFLAGS  := -std=c++20 -g -O2 -ffp-contract=off -fno-strict-aliasing -fno-exceptions -fno-rtti -fno-threadsafe-statics -Wall -Wextra -Werror -I. -DKERN_EMU $(EMU_SAN)

all: $(HONE)

help:
	@sed -n '1,/^,/s/^# //p' Makefile

deps:
	$(Q)tools/deps.sh

demo: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tools/demo.sh

test: deps
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)B=$(B) HONE=$(CURDIR)/$(HONE) ONLY="$(ONLY)" tests/run.sh

tests: $(HONE) $(UNIT) $(FUZZ) $(BENCH)

test-san: deps
	$(Q)$(MAKE) --no-print-directory SAN=address tests
	$(Q)B=build-address HONE=$(CURDIR)/build-address/hone SAN=address ONLY="$(ONLY)" tests/run.sh
	$(Q)$(MAKE) --no-print-directory SAN=thread tests
	$(Q)B=build-thread HONE=$(CURDIR)/build-thread/hone SAN=thread ONLY="$(ONLY)" tests/run.sh

bench: deps
	$(Q)$(MAKE) --no-print-directory $(HONE) $(BENCH)
	$(Q)B=$(B) HONE=$(CURDIR)/$(HONE) ONLY="$(ONLY)" bench/run.sh

lint: deps
	$(Q)$(MAKE) --no-print-directory lint-checks

lint-checks: $(OBJ) headers
	$(Q)tools/lint.sh $(B)

# every header compiles alone
HEADERS := $(filter-out cmd/list.h $(wildcard */*_list.h),$(wildcard $(FOLDERS:%=%/*.h)))
headers: $(HEADERS:%=$(B)/%.ok)
$(B)/%.h.ok: %.h $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -fsyntax-only -x c $< && touch $@

info:
	@echo "CC=$(CC)  $(shell $(CC) -dumpfullversion)"
	@echo "NVCC=$(or $(NVCC),none: this is a CPU build)"
	@echo "packages: $(foreach p,$(PKGS),$(p)=$(or $(shell pkg-config --modversion $(p) 2>/dev/null),missing))"

clean:
	rm -rf gpu-bundle build build-fuzz build-address build-thread build-debug build-address-debug build-thread-debug hone

# a change of flags rebuilds everything
$(B)/flags: FORCE
	@mkdir -p $(B); echo '$(CC) $(CFLAGS) $(LDLIBS) $(NVCC)' | cmp -s - $@ || echo '$(CC) $(CFLAGS) $(LDLIBS) $(NVCC)' > $@

$(HONE): $(LIB) $(B)/cmd/main.o $(CUDA_OBJ)
	$(call say,LINK)$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS) $(CUDA_LIBS)
$(B)/%.cu.o: %.cu $(wildcard kernels/cuda/*.h) kernels/kern.h kernels/kernels.h $(B)/flags
	@mkdir -p $(@D)
	$(call say,NVCC)$(NVCC) $(NVFLAGS) -c -o $@ $<
$(B)/emu/%.cu.o: %.cu $(wildcard kernels/cuda/*.h) kernels/kern.h kernels/kernels.h $(B)/flags
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) $(EMUFLAGS) -x c++ -c -o $@ $<
$(B)/kernels/cuda/emu.o: CFLAGS := $(filter-out -fsanitize=%,$(CFLAGS)) $(EMU_SAN)
# tests and benches of the device
EMULATED := $(B)/tests/unit/cuda $(B)/tests/unit/cuda_model
DEVICE := $(EMULATED) $(B)/bench/cuda
$(DEVICE): $(CUDA_OBJ)
$(EMULATED): $(EMU_OBJ)
$(DEVICE): LDLIBS += $(CUDA_LIBS)
$(B)/libcore.a: $(patsubst %.c,$(B)/%.o,$(wildcard core/*.c))
	$(Q)rm -f $@; ar rcs $@ $^
ifeq ($(SAN),thread) # it has one thread; and this sanitizer's clone() leaves the arguments of a child that shares memory on a stack that is gone
$(B)/sandbox-box.elf: FORCE
	$(Q)$(MAKE) --no-print-directory SAN= B=$(B)/plain $(B)/plain/sandbox-box.elf
	$(Q)cmp -s $(B)/plain/sandbox-box.elf $@ || cp $(B)/plain/sandbox-box.elf $@
else
$(B)/sandbox-box.elf: $(INNER) $(B)/sandbox/wire.o $(B)/sandbox/cgroup.o $(B)/sandbox/limits.o $(B)/libcore.a
	$(call say,LINK)$(CC) $(CFLAGS) -Wl,--defsym=main=sandbox_keeper_main -o $@ $^ -Wl,-Bstatic -lseccomp -lxxhash -Wl,-Bdynamic
	$(if $(SAN)$(DEBUG),,$(Q)strip $@)
endif
$(B)/sandbox/image.o: $(B)/sandbox-box.elf
$(B)/libhone.a: $(LIB)
	$(Q)rm -f $@; ar rcs $@ $^
$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(CFLAGS) $(call isa,$<) -Wa,-I$(B) -MMD -MP -c -o $@ $<
# texts that are built in
$(B)/sandbox/zygote.o: $(wildcard sandbox/inside/*)
$(B)/rewards/code_calls.o $(B)/rewards/code_cpp.o $(B)/rewards/repo.o: $(wildcard rewards/inside/*)
$(UNIT): $(B)/tests/unit/%: $(B)/tests/unit/%.o $(B)/libhone.a
	$(call say,LINK)$(CC) $(CFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) -lcmocka $(LDLIBS)
# a fuzz target is LLVMFuzzerTestOneInput; here it replays its corpus, `make fuzz` drives it with libFuzzer
$(FUZZ): $(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o $(B)/tests/fuzz_replay.o $(B)/libhone.a
	$(call say,LINK)$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)
$(BENCH): $(B)/bench/%: $(B)/bench/%.o $(B)/libhone.a
	$(call say,LINK)$(CC) $(CFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)
# everything that a bare CUDA machine needs to check the device: tools/gpu_check.sh runs it
gpu-bundle: $(HONE) $(DEVICE)
	$(if $(NVCC),,@echo 'gpu-bundle: no nvcc, so no CUDA to check'; exit 1)
	$(Q)tools/gpu_bundle.sh $(B)

# make fuzz T=math_verify SECONDS=600: libFuzzer with ASan+UBSan (clang), new findings stay in tests/fuzz/corpus/T
fuzz:
	$(Q)tools/fuzz.sh "$(T)" "$(or $(SECONDS),60)"

-include $(B)/kernels/cuda/emu.d $(OBJ:.o=.d) $(UNIT:%=%.d) $(FUZZ:%=%.d) $(BENCH:%=%.d)
.PHONY: gpu-bundle all help deps demo test tests test-san bench lint lint-checks headers info clean fuzz FORCE
.SECONDARY:
