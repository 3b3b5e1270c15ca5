"""The shapes of the variables of real models."""

# Layers, width: Devlin et al., 2019, and the smaller sizes of Turc et al., 2019.
BERTS = {"bert-small": (4, 512), "bert-base": (12, 768), "bert-large": (24, 1024)}
MODELS = [*BERTS, "resnet50"]
VOCABULARY, POSITIONS, SEGMENTS = 30522, 512, 2


def model_shapes(model: str) -> list[tuple]:
    """The shapes of a model's trainable variables.

    Example:
        >>> sum(map(math.prod, model_shapes("resnet50")))
        25557032
    """
    if model in BERTS:
        return bert_shapes(*BERTS[model])
    from lamb_keras.models import resnet50

    net = resnet50((224, 224, 3))
    return [tuple(v.shape) for v in net.trainable_variables]


def bert_shapes(layers: int, width: int) -> list[tuple]:
    """The shapes of BERT's variables, with the heads of its pre-training.

    Example:
        >>> shapes = bert_shapes(*BERTS["bert-large"])
        >>> len(shapes), sum(map(math.prod, shapes))
        (398, 336226108)
    """

    def dense(inputs, outputs):
        return [(inputs, outputs), (outputs,)]

    norm = [(width,), (width,)]
    layer = [
        *(4 * dense(width, width)),
        *norm,
        *dense(width, 4 * width),
        *dense(4 * width, width),
        *norm,
    ]
    return [
        *((rows, width) for rows in (VOCABULARY, POSITIONS, SEGMENTS)),
        *norm,
        *(layers * layer),
        *dense(width, width),  # the pooler
        *dense(width, width),  # the masked-word head, tied to the embeddings
        *norm,
        (VOCABULARY,),
        *dense(width, 2),  # the next-sentence head
    ]
