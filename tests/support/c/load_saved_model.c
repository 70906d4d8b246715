/* A reader that is not Python: loads a SavedModel with TensorFlow's C API, runs it, writes the bytes of its outputs.
 *
 *     load_saved_model EXPORT_DIR RESULT INPUT_OPERATION DIMENSIONS OUTPUT_OPERATION OUTPUTS
 *
 * The input is a float32 tensor of DIMENSIONS ("1,43844,1") that holds a sine wave; the first OUTPUTS outputs of
 * OUTPUT_OPERATION are written to RESULT one after the other.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tensorflow/c/c_api.h>

#define MAX_DIMENSIONS 8
#define MAX_OUTPUTS 16

static void check(const TF_Status *status, const char *what) {
    if (TF_GetCode(status) != TF_OK) {
        fprintf(stderr, "%s: %s\n", what, TF_Message(status));
        exit(1);
    }
}

static TF_Operation *operation(TF_Graph *graph, const char *name) {
    TF_Operation *found = TF_GraphOperationByName(graph, name);
    if (found == NULL) {
        fprintf(stderr, "the graph has no operation %s\n", name);
        exit(1);
    }
    return found;
}

static TF_Tensor *sine(const char *dimensions) {
    int64_t shape[MAX_DIMENSIONS];
    int rank = 0;
    size_t elements = 1;
    for (const char *at = dimensions; rank < MAX_DIMENSIONS; at++) {
        char *end;
        shape[rank] = strtoll(at, &end, 10);
        elements *= (size_t)shape[rank++];
        at = end;
        if (*at != ',')
            break;
    }
    TF_Tensor *tensor = TF_AllocateTensor(TF_FLOAT, shape, rank, elements * sizeof(float));
    float *samples = TF_TensorData(tensor);
    for (size_t at = 0; at < elements; at++)
        samples[at] = (float)sin(0.125 * (double)at);
    return tensor;
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: %s EXPORT_DIR RESULT INPUT_OPERATION DIMENSIONS OUTPUT_OPERATION OUTPUTS\n", argv[0]);
        return 2;
    }
    const char *tags[] = {"serve"};
    TF_Status *status = TF_NewStatus();
    TF_Graph *graph = TF_NewGraph();
    TF_SessionOptions *options = TF_NewSessionOptions();
    /* A serialized ConfigProto {intra_op_parallelism_threads: 1, inter_op_parallelism_threads: 1}: the order in which
     * threads add floats would otherwise show in the last bits. */
    const unsigned char one_thread[] = {0x10, 0x01, 0x28, 0x01};
    TF_SetConfig(options, one_thread, sizeof one_thread, status);
    check(status, "TF_SetConfig");

    TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
    check(status, "TF_LoadSessionFromSavedModel");

    TF_Output input = {operation(graph, argv[3]), 0};
    TF_Tensor *value = sine(argv[4]);
    TF_Output outputs[MAX_OUTPUTS];
    TF_Tensor *results[MAX_OUTPUTS] = {NULL};
    int count = atoi(argv[6]);
    if (count < 1 || count > MAX_OUTPUTS) {
        fprintf(stderr, "OUTPUTS must be from 1 to %d\n", MAX_OUTPUTS);
        return 2;
    }
    for (int at = 0; at < count; at++)
        outputs[at] = (TF_Output){operation(graph, argv[5]), at};

    TF_SessionRun(session, NULL, &input, &value, 1, outputs, results, count, NULL, 0, NULL, status);
    check(status, "TF_SessionRun");

    FILE *file = fopen(argv[2], "wb");
    if (file == NULL) {
        perror(argv[2]);
        return 1;
    }
    for (int at = 0; at < count; at++) {
        size_t size = TF_TensorByteSize(results[at]);
        if (fwrite(TF_TensorData(results[at]), 1, size, file) != size) {
            perror(argv[2]);
            return 1;
        }
        TF_DeleteTensor(results[at]);
    }
    if (fclose(file) != 0) {
        perror(argv[2]);
        return 1;
    }
    TF_DeleteTensor(value);
    TF_CloseSession(session, status);
    TF_DeleteSession(session, status);
    TF_DeleteSessionOptions(options);
    TF_DeleteGraph(graph);
    TF_DeleteStatus(status);
    return 0;
}
